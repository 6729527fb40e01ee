//! Hooks: a connection is set up when it is opened, and looked at before it is handed out. The four answers are those of pgxpool's `PrepareConn`.
//!
//! `cargo run -p pool-core --example hooks`

#[cfg(not(feature = "loom"))]
#[path = "common/toy.rs"]
mod toy;

#[cfg(not(feature = "loom"))]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use pool_core::{AcquireError, ConnectionFacts, HandOut, HookError, HookPoint, Hooks};
    use toy::Connection;

    struct Prepare;

    impl Hooks<Connection> for Prepare {
        fn points(&self) -> &[HookPoint] {
            &[HookPoint::AfterOpen, HookPoint::BeforeHandOut]
        }

        async fn after_open(&self, connection: &mut Connection, _: &ConnectionFacts) -> Result<(), HookError> {
            connection.note = "set up";
            Ok(())
        }

        async fn before_hand_out(&self, connection: &mut Connection, facts: &ConnectionFacts) -> HandOut {
            println!("{connection}, used {} times", facts.uses);
            match std::mem::replace(&mut connection.note, "looked at") {
                "in doubt" => HandOut::Refuse("not now".into()),
                "suspect" => HandOut::CloseAndRefuse("not any more".into()),
                "stale" => HandOut::CloseAndTryAnother,
                _ => HandOut::Use,
            }
        }
    }

    let pool = toy::pool(1).hooks(Prepare).build()?;
    // What somebody writes on a connection that he gives back, whether the next one gets it, and which connection there is then.
    for (note, is_served, number) in [("", true, 0), ("in doubt", false, 0), ("suspect", false, 1), ("stale", true, 2)]
    {
        pool.acquire().await?.note = note;
        let outcome = pool.acquire().await.map(drop);
        assert_eq!(outcome.is_ok(), is_served);
        if let Err(error) = outcome {
            println!("  {error}");
            assert!(matches!(error, AcquireError::Hook { .. }));
        }
        assert_eq!(pool.acquire().await?.number, number);
    }
    pool.close().await;
    Ok(())
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
