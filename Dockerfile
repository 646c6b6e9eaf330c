# A small image without a shell, run as an ordinary user. docs/containers.md says how to use it.

# The toolchain of rust-toolchain.toml; a test holds the two together.
ARG RUST=1.95.0

FROM rust:${RUST}-slim-bookworm AS build
ARG RUST
# Over rust-toolchain.toml, which also names components that are not needed here.
ENV RUSTUP_TOOLCHAIN=${RUST}
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY src src
# With what guides an optimised build: benches/profile.
COPY .cargo .cargo
COPY benches benches
# What is built in: the template of `countersign stack`, the unit and the agent of `countersign service`.
COPY config/cloudformation.yaml config/cloudformation.yaml
COPY deploy/systemd/countersign.service deploy/systemd/countersign.service
COPY deploy/launchd/countersign.plist deploy/launchd/countersign.plist
RUN cargo build --locked --release --bin countersign

# Bookworm's glibc, as in the stage above, and the certificates of public authorities. The program needs no more.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/release/countersign /usr/local/bin/countersign
# Numeric, so that Kubernetes can see that it is not root.
USER 65532:65532
# Where ~/.aws is mounted, whichever user runs the image. A countersign.toml beside it is read.
ENV HOME=/home/nonroot
WORKDIR /home/nonroot
# A page for people at a workstation. In a container nobody sees the link that opens it.
ENV COUNTERSIGN_INSPECTOR=false
# It listens on loopback as anywhere else: right for a sidecar. For a published port set COUNTERSIGN_LISTEN,
# COUNTERSIGN_ALLOW_REMOTE and COUNTERSIGN_TOKEN_FILE; that callers need no token is never a default.
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/usr/local/bin/countersign", "health"]
ENTRYPOINT ["/usr/local/bin/countersign"]
