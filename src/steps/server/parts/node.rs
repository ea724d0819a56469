//! A server's Node, as that server's own API sees it.

use serde_json::Value;

use crate::failure::Result;
use crate::kubernetes::Kubernetes;
use crate::plan::Server;
use crate::world::World;

/// The Node object, or `None` where the server has not registered.
pub(crate) async fn of(world: &World, server: &Server) -> Result<Option<Value>> {
    let kubernetes = Kubernetes::on(world.server(server).await?.clone());
    kubernetes.get(&["node", &server.name]).await
}
