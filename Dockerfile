# The demo in a container, for macOS and Windows: its hosts are processes, nothing needs privileges.
# Untried: there was no Docker engine where this was written. `make demo DEMO=processes` in an
# unprivileged imitation of a container was.
#
#   docker build -t paretopipe .
#   docker run --rm -v "$PWD/reports/html:/paretopipe/reports/html" paretopipe
#
# On x86-64 the ordinary package index has a CUDA build of PyTorch, some gigabytes of it; the small one
# comes with --build-arg PIP_EXTRA_INDEX_URL=… behind `docker build`: PyTorch's index for CPUs.
FROM python:3.13-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends make tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home paretopipe \
    && install -d -o paretopipe /paretopipe
USER paretopipe
WORKDIR /paretopipe
COPY --chown=paretopipe Makefile ./
COPY --chown=paretopipe scripts scripts
COPY --chown=paretopipe requirements requirements
ARG PIP_EXTRA_INDEX_URL
RUN make setup-processes PIP_CACHE_DIR=/tmp/pip && rm -rf /tmp/pip
COPY --chown=paretopipe . .
RUN mkdir -p reports/html
# An init: the agents are orphans as soon as the playbook that started them has ended.
ENTRYPOINT ["tini", "--"]
CMD ["make", "demo", "DEMO=processes"]
