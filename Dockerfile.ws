# The gateway's image (default) and the test publisher's (--target test-publisher):
#
#     docker build -f Dockerfile.ws -t ws-gateway .
#     docker run --rm -p 8080:8080 ws-gateway --demo
#
# deploy/dry-run does the same steps in a directory, without Docker.

# --- The manifests, with sources that are empty ---
# Dependencies take minutes and change seldom: built from manifests alone, their layer stays until Cargo.lock changes.
# The Rust version is rust-version of Cargo.toml; bookworm is the Debian of the final image, so that the glibc is the same.
FROM rust:1.95-bookworm AS manifests
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY tools/Cargo.toml tools/
COPY ws-load/Cargo.toml ws-load/
COPY benches/compare/nats/Cargo.toml benches/compare/nats/
COPY fuzz/Cargo.toml fuzz/
RUN mkdir -p src tools/src/bin ws-load/src benches/compare/nats/src fuzz/src \
    && touch src/lib.rs tools/src/lib.rs ws-load/src/lib.rs fuzz/src/lib.rs \
    && echo 'fn main() {}' \
     | tee src/main.rs tools/src/bin/test-publisher.rs tools/src/bin/ws-client.rs benches/compare/nats/src/main.rs

# --- The gateway ---
# What was built of our own empty sources is cleaned away: COPY keeps files' times, and cargo would take them for built.
FROM manifests AS gateway-build
RUN cargo build --profile dist --locked --package ws-gateway \
    && cargo clean --profile dist --package ws-gateway
COPY web web
COPY src src
# Without line numbers, but with the names of functions: 7 MB instead of 29.
RUN cargo build --profile dist --locked --package ws-gateway --bin ws-gateway \
    && strip --strip-debug target/dist/ws-gateway

# --- The test publisher, which nobody builds who doesn't ask for it ---
FROM manifests AS publisher-build
RUN cargo build --profile dist --locked --package tools \
    && cargo clean --profile dist --package tools --package ws-gateway
COPY web web
COPY src src
COPY tools/src tools/src
RUN cargo build --profile dist --locked --package tools --bin test-publisher \
    && strip --strip-debug target/dist/test-publisher

# --- The images: glibc and libgcc, no shell, no package manager, user 65532 ---
FROM gcr.io/distroless/cc-debian12:nonroot AS test-publisher
COPY --from=publisher-build /build/target/dist/test-publisher /usr/local/bin/test-publisher
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/test-publisher"]

FROM gcr.io/distroless/cc-debian12:nonroot AS gateway
COPY --from=gateway-build /build/target/dist/ws-gateway /usr/local/bin/ws-gateway
ENV WS_HOST=0.0.0.0 WS_PORT=8080
EXPOSE 8080
USER 65532:65532
# SIGTERM drains: clients are told when to come back and where they stand, then closed with 1012.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=7s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/ws-gateway", "--healthcheck"]
ENTRYPOINT ["/usr/local/bin/ws-gateway"]
