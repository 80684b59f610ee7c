# Rayquiz with its Ray, Serve and HAProxy; database, broker and Redis are elsewhere (docker-compose.yml).
FROM python:3.11-slim-bookworm

WORKDIR /app
COPY requirements.lock ./
RUN pip install --no-cache-dir --no-deps --requirement requirements.lock

COPY pyproject.toml README.md ./
COPY engine engine
COPY actors actors
COPY serve_app serve_app
COPY migrations migrations
COPY simulation simulation
RUN pip install --no-cache-dir --no-deps .

RUN useradd --create-home --uid 1000 rayquiz && install --directory --owner rayquiz /data
USER rayquiz
ENV RAYQUIZ_DATA_DIR=/data
VOLUME /data
EXPOSE 8000
ENTRYPOINT ["rayquiz"]
CMD ["up", "--profile", "external", "--lan"]
