//! The futures of those who listen.

use std::time::Duration;

use pool_postgres::Subscription;

use crate::dropped::{Case, Stage};

/// All of them.
pub(crate) const LISTEN: [Case; 4] = [
    ("notify", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            let notifying = stage.chaos.pool.notify(&stage.table, "here");
            cut.apply(tokio::time::timeout(stage.fault.patience, notifying)).await.is_some()
        })
    }),
    ("recv", |stage, cut| {
        Box::pin(async move {
            let mut subscription = subscribed(stage).await;
            stage.strike().await;
            stage.chaos.watch.run(&format!("NOTIFY {}", stage.table)).await;
            cut.apply(tokio::time::timeout(stage.fault.patience, subscription.recv())).await.is_some()
        })
    }),
    ("subscribe", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            let listener = stage.chaos.pool.listener();
            cut.apply(tokio::time::timeout(stage.fault.patience, listener.subscribe("a"))).await.is_some()
        })
    }),
    ("subscribe_all", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            let listener = stage.chaos.pool.listener();
            cut.apply(tokio::time::timeout(stage.fault.patience, listener.subscribe_all(["a", "b"]))).await.is_some()
        })
    }),
];

/// Somebody who is subscribed, though the pool may be in a hurry.
async fn subscribed(stage: &Stage) -> Subscription {
    let subscribing = async {
        loop {
            match stage.chaos.pool.listener().subscribe(&stage.table).await {
                Ok(subscription) => return subscription,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), subscribing).await.expect("a server that is in order")
}
