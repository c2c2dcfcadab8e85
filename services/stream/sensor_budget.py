"""How many sensors the devices of one partition have, and may have: each is memory here and series in InfluxDB."""

from services.stream.device import Device


class SensorBudget:
    """Sensors in use, by tenant and in all; see `Budgets` for the limits."""

    def __init__(self, per_device: int, per_tenant: int, per_partition: int) -> None:
        self._per_device = per_device
        self._per_tenant = per_tenant
        self._per_partition = per_partition
        self._by_tenant: dict[str, int] = {}
        self._in_all = 0

    def refusal(self, device: Device) -> str | None:
        """Why the device may have no further sensor, for a person."""
        if len(device.sensors) >= self._per_device:
            return f"the device has {self._per_device} sensors already"
        if self._by_tenant.get(device.whose.tenant, 0) >= self._per_tenant:
            return f"the tenant's devices have {self._per_tenant} sensors already"
        if self._in_all >= self._per_partition:
            return f"the partition's devices have {self._per_partition} sensors already"
        return None

    def count(self, tenant: str, step: int) -> None:
        """So many sensors more, or fewer."""
        count = self._by_tenant.get(tenant, 0) + step
        self._in_all += step
        if count:
            self._by_tenant[tenant] = count
        else:
            self._by_tenant.pop(tenant, None)
