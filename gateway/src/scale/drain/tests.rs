use super::*;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn pod(name: &str, in_flight: u32) -> PodView {
    PodView {
        name: name.into(),
        usable: true,
        marked: false,
        in_flight,
        empty: false,
    }
}

fn marked(name: &str, in_flight: u32) -> PodView {
    PodView {
        marked: true,
        empty: in_flight == 0,
        ..pod(name, in_flight)
    }
}

fn mark(name: &str) -> Action {
    Action::Mark(name.into())
}

fn unmark(name: &str) -> Action {
    Action::Unmark(name.into())
}

fn once(replicas: u32, want: u32, pods: &[PodView]) -> Vec<Action> {
    plan(secs(0), replicas, want, pods, &mut Memory::default())
}

#[test]
fn the_emptiest_are_marked_first_and_those_that_take_no_requests_before_them() {
    let mut starting = pod("d", 0);
    starting.usable = false;
    let pods = [pod("a", 5), pod("b", 1), pod("c", 3), starting];
    assert_eq!(once(4, 2, &pods), [mark("d"), mark("b")]);
}

#[test]
fn the_scale_goes_down_when_all_marked_ones_are_empty() {
    assert_eq!(
        once(3, 1, &[marked("a", 0), marked("b", 1), pod("c", 9)]),
        []
    );
    let pods = [marked("a", 0), marked("b", 0), pod("c", 9)];
    assert_eq!(once(3, 1, &pods), [Action::Scale(1)]);
}

#[test]
fn a_mark_that_not_every_gateway_has_seen_is_not_enough() {
    let mut unseen = marked("a", 0);
    unseen.empty = false;
    assert_eq!(once(1, 0, &[unseen]), []);
}

#[test]
fn load_that_comes_back_takes_the_marks_off() {
    let pods = [marked("a", 0), pod("b", 9)];
    assert_eq!(once(2, 2, &pods), [unmark("a")]);
    assert_eq!(once(2, 5, &pods), [Action::Scale(5), unmark("a")]);
}

#[test]
fn replicas_without_pods_go_at_once() {
    assert_eq!(once(5, 2, &[pod("a", 1), pod("b", 1)]), [Action::Scale(2)]);
    assert_eq!(once(3, 0, &[]), [Action::Scale(0)]);
}

#[test]
fn one_long_request_does_not_hold_the_others_back() {
    let mut memory = Memory::default();
    let pods = [marked("a", 0), marked("b", 1), marked("c", 0)];
    assert_eq!(plan(secs(0), 3, 0, &pods, &mut memory), []);
    assert_eq!(plan(secs(9), 3, 0, &pods, &mut memory), []);
    // Patience is over: its mark comes off first, then the idle ones go.
    assert_eq!(plan(secs(10), 3, 0, &pods, &mut memory), [unmark("b")]);
    let pods = [marked("a", 0), pod("b", 1), marked("c", 0)];
    assert_eq!(plan(secs(11), 3, 0, &pods, &mut memory), [Action::Scale(1)]);
    // It is left alone for a while, and then tried again.
    let last = [pod("b", 1)];
    assert_eq!(plan(secs(20), 1, 0, &last, &mut memory), []);
    assert_eq!(plan(secs(31), 1, 0, &last, &mut memory), [mark("b")]);
}

#[test]
fn a_mark_too_many_comes_off() {
    let pods = [marked("a", 2), marked("b", 0), pod("c", 1)];
    let actions = once(3, 2, &pods);
    assert_eq!(actions, [unmark("a")]);
    let pods = [pod("a", 2), marked("b", 0), pod("c", 1)];
    assert_eq!(once(3, 2, &pods), [Action::Scale(2)]);
}
