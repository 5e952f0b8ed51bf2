FROM python:3.13-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore

# Many tests start Memcached servers of their own, and so does the demo if none is named.
RUN apt-get update && apt-get install --yes --no-install-recommends memcached \
    && rm -rf /var/lib/apt/lists/*

# A demo's database is in /data, the static files of docker-compose.scale.yml in /static. Volumes
# mounted there belong to the same user.
RUN useradd --system --uid 1000 --create-home carsite && install -d -o carsite -g carsite /data /static
ENV DATABASE_URL=sqlite:////data/cars.sqlite3

WORKDIR /app
# Copied first and alone, so that a build reuses this layer until a package changes.
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock
COPY . .

USER carsite
EXPOSE 8000
CMD ["python", "manage.py", "demo", "--host", "0.0.0.0"]
