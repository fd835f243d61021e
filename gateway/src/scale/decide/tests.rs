use super::*;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A busy function with one replica, watched for long.
fn input() -> Input {
    Input {
        role: Role::Active,
        role_for: secs(1000),
        min: 0,
        max: 20,
        initial: 1,
        activation: 1,
        target: 70.0,
        window: secs(60),
        idle_after: secs(60),
        down_delay: Duration::ZERO,
        replicas: 1,
        ready: 1,
        stable: 50.0,
        panic: 50.0,
        latest: 50.0,
        coming: 0.0,
        idle_for: Duration::ZERO,
        observed_for: secs(1000),
        complete: true,
    }
}

fn once(input: &Input) -> u32 {
    decide(secs(1000), input, &mut Memory::default())
}

#[test]
fn as_many_as_carry_the_load_within_the_bounds() {
    let with = |stable: f64| Input {
        stable,
        panic: stable,
        ..input()
    };
    assert_eq!(once(&with(70.0)), 1);
    assert_eq!(once(&with(71.0)), 2);
    assert_eq!(once(&with(700.0)), 10);
    assert_eq!(once(&with(1e9)), 20);
    let least = Input {
        min: 3,
        ..with(1.0)
    };
    assert_eq!(once(&least), 3);
}

#[test]
fn a_burst_is_answered_at_once_and_held() {
    let mut memory = Memory::default();
    let burst = Input {
        panic: 700.0,
        ..input()
    };
    assert_eq!(decide(secs(0), &burst, &mut memory), 10);
    // The burst is over; nothing goes down until the window has passed.
    let after = Input {
        replicas: 10,
        ready: 10,
        panic: 1.0,
        stable: 20.0,
        ..input()
    };
    assert_eq!(decide(secs(30), &after, &mut memory), 10);
    assert_eq!(decide(secs(59), &after, &mut memory), 10);
    assert_eq!(decide(secs(60), &after, &mut memory), 5);
}

#[test]
fn what_waits_elsewhere_counts_at_once_beside_what_runs() {
    let waiting = |coming| Input {
        latest: 20.0,
        coming,
        ..input()
    };
    assert_eq!(once(&waiting(0.0)), 1);
    assert_eq!(once(&waiting(50.0)), 1);
    assert_eq!(once(&waiting(51.0)), 2);
    assert_eq!(once(&waiting(680.0)), 10);
    assert_eq!(once(&waiting(1e9)), 20);
    // The windows still decide where they ask for more.
    let busy = Input {
        stable: 700.0,
        panic: 700.0,
        ..waiting(60.0)
    };
    assert_eq!(once(&busy), 10);
    // It is no burst: when it is gone nothing is held on to.
    let mut memory = Memory::default();
    assert_eq!(decide(secs(0), &waiting(680.0), &mut memory), 10);
    let gone = Input {
        replicas: 10,
        ready: 10,
        ..waiting(0.0)
    };
    assert_eq!(decide(secs(1), &gone, &mut memory), 5);
    // From nothing ready it is as many at once.
    let cold = Input {
        replicas: 1,
        ready: 0,
        stable: 0.0,
        panic: 0.0,
        latest: 0.0,
        ..waiting(680.0)
    };
    assert_eq!(once(&cold), 10);
    let retired = Input {
        role: Role::Retired,
        role_for: secs(60),
        ..waiting(680.0)
    };
    assert_eq!(once(&retired), 0);
}

#[test]
fn down_at_most_by_half() {
    let over = Input {
        replicas: 16,
        ready: 16,
        stable: 1.0,
        panic: 1.0,
        ..input()
    };
    assert_eq!(once(&over), 8);
}

#[test]
fn the_last_one_goes_after_the_idle_time() {
    let quiet = |idle_for| Input {
        stable: 0.0,
        panic: 0.0,
        idle_for,
        ..input()
    };
    assert_eq!(once(&quiet(secs(59))), 1);
    assert_eq!(once(&quiet(secs(60))), 0);
    let longer = Input {
        idle_after: secs(600),
        ..quiet(secs(599))
    };
    assert_eq!(once(&longer), 1);
    // A short idle time does not wait for the window to forget.
    let shorter = Input {
        idle_after: secs(5),
        stable: 3.0,
        ..quiet(secs(5))
    };
    assert_eq!(once(&shorter), 0);
    let kept = Input {
        min: 1,
        ..quiet(secs(6000))
    };
    assert_eq!(once(&kept), 1);
}

#[test]
fn a_new_leader_takes_nothing_away_until_it_has_seen_enough() {
    let fresh = |observed_for| Input {
        replicas: 8,
        ready: 8,
        stable: 0.0,
        panic: 0.0,
        idle_for: observed_for,
        observed_for,
        ..input()
    };
    assert_eq!(once(&fresh(secs(59))), 8);
    assert_eq!(once(&fresh(secs(60))), 0);
    let deaf = Input {
        complete: false,
        ..fresh(secs(600))
    };
    assert_eq!(once(&deaf), 8);
    let lowered = Input {
        max: 3,
        ..fresh(secs(1))
    };
    assert_eq!(once(&lowered), 3);
}

#[test]
fn a_lower_need_must_last() {
    let mut memory = Memory::default();
    let with = |stable: f64| Input {
        stable,
        panic: stable,
        replicas: 4,
        ready: 4,
        down_delay: secs(30),
        ..input()
    };
    assert_eq!(decide(secs(0), &with(280.0), &mut memory), 4);
    assert_eq!(decide(secs(10), &with(140.0), &mut memory), 4);
    assert_eq!(decide(secs(30), &with(140.0), &mut memory), 4);
    assert_eq!(decide(secs(31), &with(140.0), &mut memory), 2);
}

#[test]
fn activation_is_the_least_for_any_load() {
    let woken = Input {
        activation: 3,
        stable: 1.0,
        panic: 1.0,
        ..input()
    };
    assert_eq!(once(&woken), 3);
}

#[test]
fn a_new_revision_keeps_what_it_was_made_with() {
    let pending = Input {
        role: Role::Pending,
        replicas: 4,
        ready: 0,
        stable: 0.0,
        panic: 0.0,
        idle_for: secs(6000),
        ..input()
    };
    assert_eq!(once(&pending), 4);
    let untried = Input {
        replicas: 0,
        initial: 0,
        ..pending.clone()
    };
    assert_eq!(once(&untried), 0);
    let lost = Input {
        replicas: 0,
        initial: 2,
        ..pending
    };
    assert_eq!(once(&lost), 2);
}

#[test]
fn a_retired_one_goes_to_zero_whatever_min_says_but_not_at_the_first_sight() {
    let retired = |role_for| Input {
        role: Role::Retired,
        role_for,
        min: 2,
        replicas: 5,
        ..input()
    };
    assert_eq!(once(&retired(secs(9))), 5);
    assert_eq!(once(&retired(secs(10))), 0);
}
