//! When a peer engine that says nothing is given up on, told by a clock that runs only while everybody waits.

use tokio::time::{pause, sleep};
use weft_core::limit::Limit;

use super::*;
use crate::bounds::Length;
use crate::fuzzing::stage::{Stage, pair};
use crate::upstream::Slots;

fn bounds(interval: Duration, patience: Duration) -> Bounds {
    let mut bounds = Bounds::default();
    bounds.http2.ping_interval = Length(interval);
    bounds.http2.ping_timeout = Length(patience);
    bounds
}

/// How long after its connection came about a silent peer is asked for a sign of life, and how long until it is given up on,
/// while something is under way.
fn borne(bounds: Bounds) -> (Duration, Duration) {
    let stage = Stage::within(bounds);
    stage.play(async {
        let (ours, silent) = pair();
        let slot = Slots::new(&Arc::new(Limit::of(1))).take().expect("room");
        let over = (stage.worker(), SocketAddr::from(([127, 0, 0, 1], 1)));
        let link = open(Stream::Plain(ours), true, None, Arc::default(), slot, over);
        let link = link.await.expect("a connection");
        // From here on nobody waits for a socket: time passes as timers say.
        pause();
        let began = Instant::now();
        let _sender = link.sender(began);
        let (mut asked, mut read) = (Duration::ZERO, [0; 1024]);
        while link.is_good(Instant::now()) {
            if matches!(silent.try_read(&mut read), Ok(1..)) {
                asked = began.elapsed();
            }
            sleep(Duration::from_millis(1)).await;
        }
        (asked, began.elapsed())
    })
}

#[test]
fn a_silent_peer_is_asked_when_its_interval_is_over_and_given_up_on_when_its_patience_is() {
    let of = Duration::from_millis;
    for (interval, patience) in [(700, 900), (1500, 900), (700, 1700)] {
        let (asked, over) = borne(bounds(of(interval), of(patience)));
        for (took, wanted) in [(asked, of(interval)), (over, of(interval + patience))] {
            assert!(
                (wanted..wanted + of(20)).contains(&took),
                "{interval} ms and {patience} ms: {asked:?}, {over:?}"
            );
        }
    }
}
