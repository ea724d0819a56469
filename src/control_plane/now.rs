//! How a server may start, asked at the moment when it is about to.

use super::ask::ask_again;
use super::judge::{Judgement, judge};
use super::start::Start;
use crate::failure::Result;
use crate::plan::Server;
use crate::world::World;

/// How a server has to start that could not be judged before the run; `None` while others have still to answer.
pub async fn start_now(world: &World, server: &Server) -> Result<Option<Start>> {
    let seen = ask_again(world).await;
    match judge(&world.plan, &seen, &[]) {
        Judgement::Clear(control_plane) => Ok(match control_plane.start(&server.name) {
            Start::Undecided => None,
            start => Some(start.clone()),
        }),
        Judgement::Refused(refusal) if refusal.passes => Ok(None),
        Judgement::Refused(refusal) => Err(refusal.failure),
    }
}
