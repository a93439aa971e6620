# unetd, unetctl, the backends and the digits model, on Debian's own libraries.
#
#   docker build -t unetd .
#   docker run --rm -p 127.0.0.1:8001:8001 -p 127.0.0.1:8002:8002 unetd
#
# docs/deploy.md tells how to run it; scripts/image builds it and tries it.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
WORKDIR /src
# The packages are a layer of their own: sources that change do not install them again.
COPY scripts/common.sh scripts/setup scripts/
RUN scripts/setup && rm -rf /var/lib/apt/lists/*
COPY . .
# Unsaid: as many jobs as there are cores.
ARG JOBS
RUN --mount=type=cache,target=/root/.cache/ccache \
    cmake --preset release -DBUILD_TESTING=OFF \
    && cmake --build --preset release ${JOBS:+-j "$JOBS"} \
    && cmake --install build --prefix /opt/unetd --strip

FROM ${BASE}
# What unetd and unetctl link; the backends need no more.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        libcivetweb1 libfmt9 libgrpc++1.51 libpng16-16 libprometheus-cpp-core1.0 libprotobuf32 \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/unetd /usr/local
# A library that is missing shows here, not at the first start.
RUN unetd --version && unetctl --version

# Behind the layers that take long: a new revision does not make them again.
ARG VERSION=local
ARG REVISION=unknown
LABEL org.opencontainers.image.title="unetd" \
      org.opencontainers.image.description="Inference server for diffusion UNets" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"

# A number, so that Kubernetes can see that it is not root; it owns nothing and writes nothing.
USER 65532:65532
EXPOSE 8001 8002
HEALTHCHECK --interval=10s --timeout=6s --start-period=120s CMD ["unetctl", "health"]
ENTRYPOINT ["unetd"]
CMD ["--config", "/usr/local/share/unetd/docker.json"]
