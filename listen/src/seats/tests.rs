use std::{net::Ipv4Addr, time::Duration};

use super::*;

const LONG: Duration = Duration::from_secs(5);

fn seats(most: usize, per_address: usize) -> Seats {
    Seats::new(Bounds { most, per_address })
}

fn address(last: u8) -> Option<IpAddr> {
    Some(Ipv4Addr::new(10, 0, 0, last).into())
}

/// Lets the clock of the places move on.
fn pass() {
    std::thread::sleep(Duration::from_millis(2));
}

async fn take(seats: &Seats, last: u8) -> Seat {
    seats.take(address(last)).await.unwrap()
}

#[tokio::test]
async fn the_longest_idle_one_goes_first_and_busy_ones_stay() {
    let seats = seats(3, 3);
    let first = take(&seats, 1).await;
    let busy = first.busy();
    pass();
    let second = take(&seats, 1).await;
    pass();
    let third = take(&seats, 1).await;
    let fourth = take(&seats, 1).await;
    tokio::time::timeout(LONG, second.lost()).await.unwrap();
    assert!(!second.begin(), "its place is lost");
    drop(second);
    assert_eq!(seats.taken(), 3);

    pass();
    drop(busy);
    drop(third.busy());
    pass();
    // Now the fourth has been idle longest.
    let fifth = take(&seats, 1).await;
    tokio::time::timeout(LONG, fourth.lost()).await.unwrap();
    assert!(first.begin());
    assert!(fifth.begin());
}

#[tokio::test]
async fn where_all_are_busy_the_next_one_waits_for_the_first_that_is_not() {
    let seats = seats(2, 2);
    let (one, other) = (take(&seats, 1).await, take(&seats, 2).await);
    let (working, _still_working) = (one.busy(), other.busy());
    let next = tokio::spawn({
        let seats = seats.clone();
        async move { take(&seats, 3).await }
    });
    tokio::task::yield_now().await;
    assert!(!next.is_finished());
    drop(working);
    let next = tokio::time::timeout(LONG, next).await.unwrap().unwrap();
    tokio::time::timeout(LONG, one.lost()).await.unwrap();
    drop(next);
    drop(take(&seats, 3).await);
}

#[tokio::test]
async fn an_address_with_too_many_loses_its_own() {
    let seats = seats(10, 2);
    let stranger = take(&seats, 9).await;
    pass();
    let first = take(&seats, 1).await;
    pass();
    let second = take(&seats, 1).await;
    let third = take(&seats, 1).await;
    tokio::time::timeout(LONG, first.lost()).await.unwrap();
    assert!(stranger.begin(), "others are left alone");

    let _busy = (second.busy(), third.busy());
    assert_eq!(seats.take(address(1)).await.err(), Some(AddressFull));
    assert!(
        seats.take(None).await.is_ok(),
        "who is not counted comes in"
    );
    assert!(seats.take(address(2)).await.is_ok());
}

#[tokio::test]
async fn an_address_that_becomes_known_later_is_bounded_then() {
    let seats = seats(10, 2);
    let mut all = Vec::new();
    for _ in 0..2 {
        let seat = seats.take(None).await.unwrap();
        seat.count_for(address(1).unwrap()).unwrap();
        all.push(seat);
        pass();
    }
    let third = seats.take(None).await.unwrap();
    third.count_for(address(1).unwrap()).unwrap();
    tokio::time::timeout(LONG, all[0].lost()).await.unwrap();
    let _busy = (all[1].busy(), third.busy());
    let fourth = seats.take(None).await.unwrap();
    let full = fourth.count_for(address(1).unwrap());
    assert_eq!(full, Err(AddressFull));
    assert_eq!(fourth.count_for(address(2).unwrap()), Ok(()));
    drop((all, third, fourth));
    assert!(seats.table().by_address.is_empty());
}

#[tokio::test]
async fn one_ipv6_network_is_one_address() {
    let seats = seats(10, 1);
    let of = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    let first = seats.take(of("2001:db8::1")).await.unwrap();
    let _busy = first.busy();
    assert!(seats.take(of("2001:db8::2")).await.is_err());
    assert!(seats.take(of("2001:db8:0:1::2")).await.is_ok());
    let mapped = seats.take(of("::ffff:10.0.0.1")).await.unwrap();
    let _busy = mapped.busy();
    assert!(seats.take(address(1)).await.is_err());
}

#[tokio::test]
async fn places_are_given_back_and_counted_out() {
    let seats = seats(4, 4);
    for round in 0..100_u8 {
        let taken: Vec<Seat> = [take(&seats, round % 3).await, take(&seats, 1).await].into();
        assert_eq!(seats.taken(), 2);
        drop(taken);
        assert_eq!(seats.taken(), 0);
    }
    let table = seats.table();
    assert!(table.by_address.is_empty());
    assert!(table.slots.len() <= 2);
}

#[tokio::test]
async fn several_requests_at_once_are_busy_until_the_last_is_over() {
    let seats = seats(1, 1);
    let seat = take(&seats, 1).await;
    let (one, other) = (seat.busy(), seat.busy());
    drop(one);
    assert_eq!(seat.idle_for(), None);
    assert!(!seats.make_room());
    drop(other);
    assert!(seat.idle_for().is_some());
    assert!(seats.make_room());
    assert!(!seats.make_room(), "there is nobody left");
    assert_eq!(seats.taken(), 0);
}

#[tokio::test]
async fn among_many_somebody_idle_is_found() {
    let seats = seats(5000, 5000);
    let all: Vec<Seat> = (0..5000).filter_map(|_| seats.take_free(None)).collect();
    let busy: Vec<Busy> = all.iter().map(Seat::busy).collect();
    assert_eq!(busy.len(), 5000);
    assert!(seats.take_free(None).is_none());
    let one = busy.into_iter().nth(4000);
    // Only one of them goes on working.
    for _ in 0..4999 {
        assert!(seats.make_room());
    }
    assert!(!seats.make_room());
    drop(one);
    assert!(seats.make_room());
}
