"""The stack of docker-compose.scale.yml, started and tried out under load by `manage.py stack`.

containers  the stack: started, stopped, and what can fail in it
visitors    readers and writers that come through nginx, and note what is stale
"""
