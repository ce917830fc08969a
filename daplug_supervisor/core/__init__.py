"""What follows from what: plain functions over plain data. No clock, randomness, disk, process or asyncio."""
