# syntax=docker/dockerfile:1

# The image has the program, the certificates of the public authorities and a list
# of what the program is made of; no shell, no C library, and nothing to write to.
#
#   docker build --build-arg VERSION=1.0.0 --build-arg REVISION="$(git rev-parse HEAD)" -t shelfcast .

ARG GO_VERSION=1.26.8

# Built on the platform that builds, for the one that is asked for.
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-bookworm AS build
WORKDIR /src
ENV CGO_ENABLED=0 GOTOOLCHAIN=local
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=dev
ARG REVISION=unknown
ARG TARGETOS
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH scripts/build /out/shelfcast
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    mkdir -p /out/usr/share/sbom && VERSION=$VERSION scripts/sbom /out/shelfcast /out/usr/share/sbom/shelfcast.cdx.json

FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Shelfcast" \
      org.opencontainers.image.description="Keeps every open page of an online shop up to date" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/ /
USER 65532:65532
# The public app, and the admin app with the metrics.
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
# It asks /readyz, which is 503 before the start is over, while the instance stops, and if it
# hangs: an orchestrator that replaces what is not healthy never replaces one for being full,
# or for what is behind it.
HEALTHCHECK --interval=10s --timeout=6s --start-period=15s --retries=3 CMD ["/shelfcast", "healthcheck"]
ENTRYPOINT ["/shelfcast"]
CMD ["serve"]
