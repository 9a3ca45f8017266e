"""The rooms of the server, by name."""

from __future__ import annotations

from collections.abc import Callable

from lab.server.room import Room
from lab.server.settings import ServerSettings
from lab.tasks import TaskSet


class RoomRegistry:
    def __init__(self, settings: ServerSettings, tasks: TaskSet) -> None:
        self._settings = settings
        self._tasks = tasks
        self._rooms: dict[str, Room] = {}
        self.on_closed: Callable[[Room], None] = lambda room: None
        """Called once for each room that has ended."""

    def get(self, name: str) -> Room | None:
        return self._rooms.get(name)

    def all(self) -> list[Room]:
        return list(self._rooms.values())

    def get_or_create(
        self,
        name: str,
        *,
        empty_timeout: float | None = None,
        departure_timeout: float | None = None,
        metadata: str = "",
    ) -> Room:
        """The room of that name; the values count only when this call makes it."""
        if name not in self._rooms:
            self._rooms[name] = Room(
                name,
                self._settings,
                self._tasks,
                self._forget,
                empty_timeout=empty_timeout,
                departure_timeout=departure_timeout,
                metadata=metadata,
            )
        return self._rooms[name]

    def _forget(self, room: Room) -> None:
        if self._rooms.get(room.name) is room:
            del self._rooms[room.name]
            self.on_closed(room)
