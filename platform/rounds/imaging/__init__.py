"""CT imaging on arrays and files alone: series, geometry gate, de-identification, volumes, masks, pictures."""
