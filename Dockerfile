# The sidecar as an image. Targets: slim (the default), tunnel (with cloudflared), sbom (a file).
#
# Every image that it builds on is an argument, so that it builds from a mirror or offline:
# BUILD_BASE needs pip, BASE needs CA certificates (and setpriv, for the target tunnel); both need the
# same minor version of Python, as `python3`. Where BUILD_BASE has strip, the image is a third smaller.
ARG BUILD_BASE=python:3.13
ARG BASE=python:3.13-slim
# An official image of Cloudflare's; in production by digest: cloudflare/cloudflared@sha256:…
ARG CLOUDFLARED=cloudflare/cloudflared:2026.8.2


FROM ${BUILD_BASE} AS build
# Where pip finds packages, when not in its usual place; the hashes hold in any case.
ARG PIP_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_NO_INDEX
WORKDIR /build
COPY requirements/run.txt ./
# Wheels only, so that nothing is compiled and no code of a package runs here.
RUN python3 -m pip install --disable-pip-version-check --no-cache-dir --no-compile --require-hashes \
        --only-binary :all: --target /app/lib --requirement run.txt \
    && rm -rf /app/lib/bin
COPY deploy/image/trim.py deploy/image/sbom.py ./
# The packages' bytecode is made here: a read-only root could keep none. Hashes in place of times keep
# the layer the same in every build.
RUN python3 trim.py /app/lib \
    && if command -v strip; then find /app/lib -name '*.so' -exec strip --strip-unneeded {} +; fi \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /app/lib
COPY sidecar /app/src/sidecar
COPY tunnel /app/src/tunnel
COPY LICENSE /app/
COPY --chmod=0755 deploy/image/bin/ /app/bin/
RUN python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /app/src \
    && PYTHONPATH=/app/src:/app/lib python3 sbom.py /app/lib > /app/sbom.cdx.json \
    && chmod -R a+rX,go-w /app \
    && mkdir -p /etc/llm-sidecar


FROM scratch AS sbom
COPY --from=build /app/sbom.cdx.json /


FROM ${BASE} AS common
# The packages come first: they change seldom, and the layer is shared by many versions.
COPY --from=build /app/lib /app/lib
COPY --from=build /app/LICENSE /app/sbom.cdx.json /app/
COPY --from=build /app/bin /app/bin
COPY --from=build /app/src /app/src
COPY --from=build /etc/llm-sidecar /etc/llm-sidecar
ENV PATH=/app/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONPATH=/app/src:/app/lib \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PROMETHEUS_DISABLE_CREATED_SERIES=True
# Where the program looks for config.yaml, and what stands in it for files.
WORKDIR /etc/llm-sidecar
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 14400 14401 14402
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["llm-sidecar", "health"]
ENTRYPOINT ["llm-sidecar"]
CMD ["run"]
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=
LABEL org.opencontainers.image.title="llm-sidecar" \
      org.opencontainers.image.description="A pod's localhost for LLMs: any client, any backend" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"


FROM ${CLOUDFLARED} AS cloudflared


FROM common AS tunnel
COPY --from=cloudflared /usr/local/bin/cloudflared /usr/local/bin/cloudflared
# Without setpriv a cloudflared would outlive a sidecar that was killed.
RUN command -v setpriv && cloudflared --version


# The last one is what a build without --target makes.
FROM common AS slim
