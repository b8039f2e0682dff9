"""The main job, `carbon-train fit`: model, data, trainer and callbacks put together."""
