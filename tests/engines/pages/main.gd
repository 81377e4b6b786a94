# Says what hero.tscn plays by itself, and in which order; then draws every frame of it with its ground
# point at (30, 50), and says what it is.
extends Node

func _ready():
	var scene = load("res://hero.tscn")
	var frames = load("res://hero.tres")
	if scene == null or frames == null:
		print("END")
		return
	var viewport = SubViewport.new()
	viewport.size = Vector2i(64, 64)
	viewport.transparent_bg = true
	viewport.render_target_update_mode = SubViewport.UPDATE_ALWAYS
	add_child(viewport)
	var sprite = scene.instantiate()
	sprite.position = Vector2(30, 50)
	viewport.add_child(sprite)
	var first = {"first": sprite.animation, "playing": sprite.is_playing()}
	first["played"] = await played(sprite, frames.get_frame_count(sprite.animation))
	print(JSON.stringify(first))
	for animation in frames.get_animation_names():
		for index in frames.get_frame_count(animation):
			sprite.stop()
			sprite.animation = animation
			sprite.frame = index
			for turn in 3:
				await RenderingServer.frame_post_draw
			var image = viewport.get_texture().get_image()
			image.convert(Image.FORMAT_RGBA8)
			print(JSON.stringify({
				"animation": animation,
				"loop": frames.get_animation_loop(animation),
				"frame": frames.get_frame_texture(animation, index).resource_name,
				"duration": 1000 * frames.get_frame_duration(animation, index)
					/ frames.get_animation_speed(animation),
				"width": image.get_width(),
				"height": image.get_height(),
				"data": Marshalls.raw_to_base64(image.get_data()),
			}))
	print("END")

# The numbers of the frames that the sprite goes on to, for as long as one round.
func played(sprite, count):
	var seen = []
	if not sprite.is_playing() or count < 2:
		return seen
	sprite.frame_changed.connect(func(): seen.append(sprite.frame))
	while seen.size() < count and sprite.is_playing():
		await get_tree().process_frame
	return seen.slice(0, count)
