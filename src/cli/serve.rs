//! `data-attribution serve`: a static file server for this machine only.
//!
//! Built on tower-http, which does Range, conditional requests and MIME types. Listens on the loopback
//! address only. The browser revalidates every file, so that a rebuilt page is never mixed with an old.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, HeaderName, X_CONTENT_TYPE_OPTIONS};
use clap::Args;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

#[derive(Args)]
pub struct Serve {
    /// Folder to serve.
    directory: PathBuf,
    /// Port on localhost; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

impl Serve {
    pub fn run(self) -> Result<()> {
        ensure!(
            self.directory.is_dir(),
            "{} is no folder",
            self.directory.display()
        );
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(self.listen())
    }

    async fn listen(self) -> Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .with_context(|| format!("http://{address}"))?;
        let port = listener.local_addr()?.port();
        println!(
            "serving {} on http://localhost:{port}",
            self.directory.display()
        );
        axum::serve(listener, router(self.directory))
            .with_graceful_shutdown(async {
                // Without a signal handler the server simply runs until it is killed.
                drop(tokio::signal::ctrl_c().await);
            })
            .await?;
        Ok(())
    }
}

fn router(directory: PathBuf) -> Router {
    let fixed = |name: HeaderName, value| {
        SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value))
    };
    Router::new()
        .fallback_service(ServeDir::new(directory))
        .layer(fixed(CACHE_CONTROL, "no-cache"))
        .layer(fixed(X_CONTENT_TYPE_OPTIONS, "nosniff"))
}
