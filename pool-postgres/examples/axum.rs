//! A web service on axum, by the methods of the pool alone: `cargo run --example axum` brings a PostgreSQL of its own, asks itself a few things and ends; `cargo run --example axum 127.0.0.1:8080` serves until Ctrl-C.

#[cfg(not(feature = "loom"))]
mod shown {
    use std::env;
    use std::error::Error;
    use std::time::Duration;

    use axum::extract::{Path, State};
    use axum::http::StatusCode;
    use axum::response::{IntoResponse, Response};
    use axum::routing::{get, post};
    use axum::{Json, Router};
    use pool_postgres::retry::Outcome;
    use pool_postgres::{PostgresConfig, PostgresPool, Queries, QueryError};
    use pool_testkit::postgres::EphemeralPostgres;
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    type Answer = Result<Json<Value>, Failure>;

    /// What a handler fails with.
    enum Failure {
        Database(QueryError),
        NotEnough,
    }

    impl From<QueryError> for Failure {
        fn from(error: QueryError) -> Self {
            Self::Database(error)
        }
    }

    impl IntoResponse for Failure {
        fn into_response(self) -> Response {
            let (status, text) = match self {
                Self::NotEnough => (StatusCode::CONFLICT, "there is not enough on the account"),
                Self::Database(error) => {
                    eprintln!("{error}");
                    told(&error)
                }
            };
            (status, text).into_response()
        }
    }

    /// What the client is told: nothing of the database, but whether it may ask again.
    fn told(error: &QueryError) -> (StatusCode, &'static str) {
        if error.acquire_error().is_some() || error.is_timeout() && error.outcome() == Outcome::NotDone {
            (StatusCode::SERVICE_UNAVAILABLE, "not now")
        } else if error.outcome() == Outcome::Unknown {
            (StatusCode::GATEWAY_TIMEOUT, "it may have been done")
        } else {
            (StatusCode::INTERNAL_SERVER_ERROR, "it has failed")
        }
    }

    /// One query, on a connection that is acquired for it. A client that goes away drops the handler, and the query is cancelled.
    async fn amount(State(pool): State<PostgresPool>, Path(id): Path<i64>) -> Result<Response, Failure> {
        let row = pool.query_opt("SELECT amount FROM account WHERE id = $1", &[&id]).await?;
        Ok(match row {
            Some(row) => Json(json!({ "id": id, "amount": row.get::<_, i64>(0) })).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        })
    }

    /// Two statements in one transaction: it is committed if the work succeeds, and rolled back if it fails or its client goes away.
    async fn transfer(State(pool): State<PostgresPool>, Path((from, to, sum)): Path<(i64, i64, i64)>) -> Answer {
        pool.transaction(async |tx| {
            let take = "UPDATE account SET amount = amount - $1 WHERE id = $2 AND amount >= $1";
            if tx.execute(take, &[&sum, &from]).await? == 0 {
                return Err(Failure::NotEnough);
            }
            tx.execute("UPDATE account SET amount = amount + $1 WHERE id = $2", &[&sum, &to]).await?;
            Ok(())
        })
        .await?;
        Ok(Json(json!({ "moved": sum })))
    }

    fn service(pool: PostgresPool) -> Router {
        Router::new()
            .route("/accounts/{id}", get(amount))
            .route("/transfer/{from}/{to}/{sum}", post(transfer))
            .with_state(pool)
    }

    #[tokio::main]
    pub(crate) async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
        let server = EphemeralPostgres::start()?;
        let pool = open(&server.url()).await?;
        let address = env::args().nth(1);
        let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?;
        let at = listener.local_addr()?.to_string();
        println!("serving on http://{at}");
        let until_end = async move {
            if address.is_some() {
                drop(tokio::signal::ctrl_c().await);
            } else {
                ask_all(&at).await.unwrap_or_else(|error| panic!("{error}"));
            }
        };
        axum::serve(listener, service(pool.clone())).with_graceful_shutdown(until_end).await?;
        // After the last request.
        pool.disconnect().await;
        Ok(())
    }

    async fn open(url: &str) -> Result<PostgresPool, Box<dyn Error + Send + Sync>> {
        let mut config: PostgresConfig = url.parse()?;
        // A request that cannot be served soon is better told so.
        config.pool.acquire_timeout = Duration::from_secs(2);
        config.limits.query_timeout = Some(Duration::from_secs(5));
        let pool = PostgresPool::connect(config).await?;
        pool.batch_execute("CREATE TABLE account (id bigint PRIMARY KEY, amount bigint NOT NULL)").await?;
        pool.execute("INSERT INTO account VALUES (1, 100), (2, 0)", &[]).await?;
        Ok(pool)
    }

    async fn ask_all(at: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
        for (request, status) in [
            ("GET /accounts/1", 200),
            ("POST /transfer/1/2/30", 200),
            ("POST /transfer/1/2/1000", 409),
            ("GET /accounts/2", 200),
            ("GET /accounts/3", 404),
        ] {
            let answer = ask(at, request).await?;
            println!("{request}: {}", answer.lines().next_back().unwrap_or_default());
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
        Ok(())
    }

    /// Asks as plainly as HTTP can be.
    async fn ask(at: &str, request: &str) -> Result<String, Box<dyn Error + Send + Sync>> {
        let mut stream = TcpStream::connect(at).await?;
        let head = format!("{request} HTTP/1.1\r\nhost: {at}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

#[cfg(not(feature = "loom"))]
fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    shown::main()
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
