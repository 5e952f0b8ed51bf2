FROM python:3.13-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore

# The database is here: a volume mounted on it belongs to the same user.
RUN useradd --system --uid 1000 --create-home carsite && install -d -o carsite -g carsite /data
ENV DATABASE_URL=sqlite:////data/cars.sqlite3

WORKDIR /app
# First, and alone: while they don't change, building again takes a second.
COPY requirements.txt ./
RUN pip install -r requirements.txt
COPY . .

USER carsite
EXPOSE 8000
CMD ["python", "manage.py", "demo", "--host", "0.0.0.0"]
