//! Clocks that go wrong over time.

use super::ms;
use crate::clock::drift::{piece, DriftShape};
use crate::env::SimTask;
use crate::world::{NodeIndex, World};
use std::time::Duration;

/// Lets a clock go wrong, from now on for so long; its rate is right again then. Dropping what it returns leaves it as it is.
pub fn drift(world: &World, node: NodeIndex, (shape, ppm, period_ms): (DriftShape, i32, u64), for_long: Option<Duration>) -> SimTask {
    let of_task = world.clone();
    world.count_fault(match shape {
        DriftShape::Constant => "clock-drift-constant",
        DriftShape::Step => "clock-drift-step",
        DriftShape::Sawtooth => "clock-drift-sawtooth",
        DriftShape::Sinusoidal => "clock-drift-sinusoidal",
    });
    let until = for_long.map(|long| world.now() + long);
    world.spawn("drift", async move {
        let world = of_task;
        let left = |world: &World| until.map_or(Duration::MAX, |until| until.saturating_sub(world.now()));
        for number in 0.. {
            let next = piece(shape, ppm, period_ms, number);
            world.set_drift_ppm(node, next.ppm);
            if next.set_by_ms != 0 {
                world.jump(node, next.set_by_ms);
            }
            world.sleep(next.for_ms.map_or(Duration::MAX, ms).min(left(&world))).await;
            if left(&world).is_zero() {
                break;
            }
        }
        world.set_drift_ppm(node, 0);
    })
}
