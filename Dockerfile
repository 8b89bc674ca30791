# Two stages: the first installs the pinned packages, the second contains the result without build tools.
ARG PYTHON=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON} AS build
# otel: with OpenTelemetry, for traces.
ARG EXTRA=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
WORKDIR /src
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/pagerelay
COPY requirements/build.txt requirements/run.txt requirements/otel.txt requirements/
RUN /build/bin/pip install --require-hashes -r requirements/build.txt \
 && /build/bin/pip --python /opt/pagerelay/bin/python install --require-hashes -r requirements/run.txt \
      ${EXTRA:+-r requirements/${EXTRA}.txt}
COPY pyproject.toml README.md LICENSE ./
COPY migrations migrations
COPY daemon daemon
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
 && /build/bin/pip --python /opt/pagerelay/bin/python install --no-deps --no-index /dist/*.whl

FROM ${PYTHON}
LABEL org.opencontainers.image.title="pagerelay" \
      org.opencontainers.image.description="PagerDuty in, signed webhooks out" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN mkdir -p /etc/pagerelay && install -d -m 0700 -o 10001 -g 10001 /var/lib/pagerelay
COPY --from=build /opt/pagerelay /opt/pagerelay
# Everything is already compiled, so the root file system can be read-only and the start stays quick.
ENV PATH=/opt/pagerelay/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
# The default database, sqlite:///pagerelay.db, is created here.
WORKDIR /var/lib/pagerelay
VOLUME /var/lib/pagerelay
EXPOSE 8421
STOPSIGNAL SIGTERM
# bash, because it starts faster than Python, and this runs every few seconds.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8421 && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r line <&3 && [[ $line == *' 200 '* ]]"]
ENTRYPOINT ["pagerelay"]
CMD ["run"]
