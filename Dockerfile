# The worker's image: what requirements.txt locks, the models, and the code; nothing of the lab or the tests.

# --- build: packages and models, with tools that the final image does not need
FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
RUN python -m venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH
COPY requirements.txt .
RUN pip install --require-hashes -r requirements.txt
# Before the code: a change of the code does not fetch the models again.
RUN HF_HOME=/app/models python -m livekit.agents download-files

# --- run
FROM python:3.13-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HF_HOME=/app/models PATH=/app/.venv/bin:$PATH
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin app
WORKDIR /app
COPY --from=build --chown=10001:10001 /app /app
COPY --chown=10001:10001 . .
USER 10001
EXPOSE 8081
# The way that lasts: LiveKit's own start, which finds `server` in agent.py. With a read-only root, mount a tmpfs at /tmp.
CMD ["python", "-m", "livekit.agents", "start", "agent.py"]
