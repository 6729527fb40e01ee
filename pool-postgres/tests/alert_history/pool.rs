//! The pool of the service, as those see it who run it.

use http_body_util::Full;
use hyper::Request;
use pool_testkit::postgres::{EphemeralPostgres, SharedPostgres};

use crate::common::{Service, alert, eventually, post};

const TOKEN: &str = "s3cr3t-of-an-operator";

#[tokio::test]
async fn the_pool_is_shown_beside_the_service() {
    let (_database, service) = Service::fresh().await;
    eventually("ready", async || service.get("/health/ready").await.0 == 200).await;
    assert_eq!(service.get("/health/live").await.1["live"], true);
    let (status, pools) = service.get("/pool?format=json").await;
    assert_eq!((status, &pools["pools"][0]["name"]), (200, &"alerts".into()), "{pools}");
    let page = service.text("/pool/ui").await;
    assert!(page.contains("<html") && page.contains("alerts"), "{page}");
    assert_eq!(service.get("/pool/nothing").await.1["error"], "not_found");
    let pause = Request::post("/pool/control/pause").header("host", "test");
    let refused = service.send(pause.body(Full::default()).unwrap()).await;
    assert_eq!(refused.status(), 404, "without a token there are no controls");
    let text = service.text("/metrics").await;
    for (route, status) in [("/health/live", 200), ("/pool", 200), ("/pool/ui", 200), ("none", 404)] {
        let labels = format!("http_route=\"{route}\",http_response_status_code=\"{status}\"}} 1\n");
        assert!(text.contains(&labels), "each was counted once: {labels} is not in\n{text}");
    }
}

#[tokio::test]
async fn whoever_has_the_token_controls_the_pool() {
    let database = EphemeralPostgres::shared().and_then(SharedPostgres::create_database).expect("a real server");
    let service = Service::start_with(database.url(), Some(TOKEN)).await;
    let control = async |action: &str, token: &str| {
        let request = Request::post(format!("/pool/control/{action}")).header("host", "test");
        let request =
            request.header("authorization", format!("Bearer {token}")).header("content-type", "application/json");
        service.send(request.body(Full::from("{}")).unwrap()).await.status().as_u16()
    };
    assert_eq!(control("pause", "s3cr3t-of-a-stranger").await, 401);
    assert!(!service.app.pool.state().paused);
    assert_eq!(control("pause", TOKEN).await, 200);
    assert!(service.app.pool.state().paused);
    assert_eq!(control("resume", TOKEN).await, 200);
    let stored = service.post(post(&[alert("A", "2026-11-01T10:00:00Z")]).to_string()).await;
    assert_eq!(stored.0, 200, "{stored:?}");
}
