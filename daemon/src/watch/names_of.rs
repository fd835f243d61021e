//! Types that stand for the objects of a kind.

/// The names of a kind, inside of an implementation of [`kube::Resource`] or of
/// [`kube::runtime::reflector::Lookup`] by a type that holds less of its objects: both ask for the same four.
#[macro_export]
macro_rules! names_of {
    ($kind:ty) => {
        fn kind((): &()) -> ::std::borrow::Cow<'_, str> {
            <$kind as ::kube::Resource>::kind(&())
        }

        fn group((): &()) -> ::std::borrow::Cow<'_, str> {
            <$kind as ::kube::Resource>::group(&())
        }

        fn version((): &()) -> ::std::borrow::Cow<'_, str> {
            <$kind as ::kube::Resource>::version(&())
        }

        fn plural((): &()) -> ::std::borrow::Cow<'_, str> {
            <$kind as ::kube::Resource>::plural(&())
        }
    };
}
