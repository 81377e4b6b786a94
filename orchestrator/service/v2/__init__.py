"""The face `/api/v2`: Comfy API v2, for its SDKs."""
