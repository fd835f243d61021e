use std::os::unix::fs::symlink;

use flate2::read::GzDecoder;

use super::*;

const ROOM: Limits = Limits {
    bytes: 1 << 20,
    files: 100,
};

fn write(folder: &Path, order: &[&str]) {
    for path in order {
        let file = folder.join(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        fs::write(&file, *path).expect("written");
    }
}

fn packed(from: &Path, limits: Limits) -> Result<(Packed, tempfile::TempDir), Error> {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = Folder {
        from: from.to_owned(),
        target: "dependencies".to_owned(),
    };
    let packed = pack(
        &folder,
        "the dependencies",
        limits,
        &scratch.path().join("layer"),
    )?;
    Ok((packed, scratch))
}

#[test]
fn the_same_files_give_the_same_bytes_and_belong_to_root() {
    let (one, other) = (
        tempfile::tempdir().expect("a"),
        tempfile::tempdir().expect("b"),
    );
    write(one.path(), &["b", "a/y", "a/x", "run"]);
    write(other.path(), &["run", "a/x", "a/y", "b"]);
    for folder in [&one, &other] {
        symlink("a/x", folder.path().join("link")).expect("linked");
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(folder.path().join("run"), mode).expect("set");
    }
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(one.path().join("b"), mode).expect("set");
    let (one, _scratch) = packed(one.path(), ROOM).expect("packed");
    let (other, _other) = packed(other.path(), ROOM).expect("packed");
    assert_eq!(one.layer, other.layer);
    let bytes = fs::read(&one.file).expect("a layer");
    assert_eq!(one.layer.digest, crate::digest::of(&bytes));
    assert_eq!(one.layer.size, bytes.len() as u64);
    let mut plain = Vec::new();
    GzDecoder::new(&*bytes)
        .read_to_end(&mut plain)
        .expect("a gzip");
    assert_eq!(one.layer.diff_id, crate::digest::of(&plain));
    let mut tar = tar::Archive::new(&*plain);
    let seen: Vec<(String, u32)> = tar
        .entries()
        .expect("entries")
        .map(|entry| {
            let entry = entry.expect("an entry");
            let header = entry.header();
            assert_eq!(
                (header.uid().ok(), header.gid().ok(), header.mtime().ok()),
                (Some(0), Some(0), Some(0))
            );
            let path = entry.path().expect("a path").display().to_string();
            (path, header.mode().expect("a mode"))
        })
        .collect();
    let expected = [
        ("dependencies/", 0o555),
        ("dependencies/a/", 0o555),
        ("dependencies/a/x", 0o444),
        ("dependencies/a/y", 0o444),
        ("dependencies/b", 0o444),
        ("dependencies/link", 0o777),
        ("dependencies/run", 0o555),
    ];
    let expected: Vec<(String, u32)> = expected
        .into_iter()
        .map(|(path, mode)| (path.to_owned(), mode))
        .collect();
    assert_eq!(seen, expected);
}

fn digest(folder: &Path) -> String {
    let (packed, _scratch) = packed(folder, ROOM).expect("packed");
    packed.layer.digest
}

/// Each change of a folder, by what is changed.
type Change = (&'static str, fn(&Path));

#[test]
fn when_and_by_whom_files_were_made_does_not_matter() {
    let mode = |file: &Path, mode| {
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("set");
    };
    let folder = || {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), &["a/x", "a/y", "run"]);
        mode(&folder.path().join("run"), 0o755);
        folder
    };
    let plain = digest(folder().path());
    let without: [Change; 4] = [
        ("times", |folder| {
            let file = File::options().append(true).open(folder.join("a/x"));
            let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
            file.expect("a file").set_modified(long_ago).expect("set");
            let folder = File::open(folder.join("a")).expect("a folder");
            folder.set_modified(long_ago).expect("set");
        }),
        ("the mask of permissions", |folder| {
            for (path, mode) in [("a", 0o700), ("a/x", 0o600), ("run", 0o700)] {
                let mode = fs::Permissions::from_mode(mode);
                fs::set_permissions(folder.join(path), mode).expect("set");
            }
        }),
        ("the owner", |folder| {
            // Only root can give files away; others have no more than this one owner.
            let _ = std::os::unix::fs::chown(folder.join("a/x"), Some(65532), Some(65532));
        }),
        ("the order", |folder| {
            fs::remove_file(folder.join("a/x")).expect("removed");
            write(folder, &["a/z", "a/x"]);
            fs::remove_file(folder.join("a/z")).expect("removed");
        }),
    ];
    for (what, change) in without {
        let folder = folder();
        change(folder.path());
        assert_eq!(digest(folder.path()), plain, "{what}");
    }
    let with: [Change; 4] = [
        ("content", |folder| {
            fs::write(folder.join("a/x"), "a/X").expect("written");
        }),
        ("what may be run", |folder| {
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(folder.join("a/x"), mode).expect("set");
        }),
        ("a name", |folder| {
            fs::rename(folder.join("a/x"), folder.join("a/w")).expect("renamed");
        }),
        ("an empty folder", |folder| {
            fs::create_dir(folder.join("b")).expect("made");
        }),
    ];
    for (what, change) in with {
        let folder = folder();
        change(folder.path());
        assert_ne!(digest(folder.path()), plain, "{what}");
    }
}

#[test]
fn long_names_and_nothing_at_all_can_be_packed() {
    let folder = tempfile::tempdir().expect("a folder");
    packed(folder.path(), ROOM).expect("an empty layer");
    let deep = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    write(folder.path(), &[&deep]);
    packed(folder.path(), ROOM).expect("packed");
}

#[test]
fn what_cannot_be_in_an_image_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &["a/.wh.b"]);
    let error = packed(folder.path(), ROOM)
        .map(|_| ())
        .expect_err("refused");
    assert!(
        error.to_string().starts_with("a/.wh.b cannot be"),
        "{error}"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let _socket =
        std::os::unix::net::UnixListener::bind(folder.path().join("socket")).expect("bound");
    let error = packed(folder.path(), ROOM)
        .map(|_| ())
        .expect_err("refused");
    assert!(
        error.to_string().contains("neither file, folder nor link"),
        "{error}"
    );
}

#[test]
fn a_layer_is_bounded_also_where_files_take_no_room_on_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = File::create(folder.path().join("sparse")).expect("made");
    file.set_len(1 << 40).expect("sparse");
    let error = packed(folder.path(), ROOM)
        .map(|_| ())
        .expect_err("refused");
    assert!(
        error.to_string().contains("more than 1048576 bytes"),
        "{error}"
    );
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &["a", "b", "c"]);
    let few = Limits { files: 3, ..ROOM };
    let error = packed(folder.path(), few).map(|_| ()).expect_err("refused");
    assert!(
        error.to_string().contains("more than 3 files and folders"),
        "{error}"
    );
}
