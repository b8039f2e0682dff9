# carbon-train in a container; docs/container.md says how to run it, with GPUs and without.
FROM python:3.11-slim-bookworm

# Address of PyTorch's wheels for CPUs or for another CUDA version; the usual ones if not given.
ARG TORCH_INDEX=

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

WORKDIR /src
COPY constraints.txt ./
# By itself, so that a change of the code does not fetch PyTorch again.
RUN pip install ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} \
        "$(grep '^torch==' constraints.txt)"

COPY pyproject.toml setup.py README.md LICENSE ./
COPY carbon_trainer carbon_trainer
COPY callbacks callbacks
COPY reports reports
RUN pip install -c constraints.txt '.[prometheus,sign,postgresql]' \
    && useradd --create-home --uid 1000 trainer \
    && mkdir -p /data/carbon_runs \
    && chown -R trainer:trainer /data

USER trainer
WORKDIR /data
# The working folder is the volume: runs, ledger and checkpoints lie in /data/carbon_runs.
VOLUME /data

ENTRYPOINT ["carbon-train"]
CMD ["--help"]
