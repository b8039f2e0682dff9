"""What energy and power are read from: NVIDIA's NVML, AMD SMI, CodeCarbon for the host."""
