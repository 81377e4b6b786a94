import torch

from comfy_nodes.ops.seeds import LAST_SEED, batch_noise, seed_list


def test_seeds_count_up_and_start_again_after_the_last() -> None:
    assert seed_list(5, 3) == [5, 6, 7]
    assert seed_list(LAST_SEED, 2) == [LAST_SEED, 0]


def test_each_image_has_the_noise_of_its_own_single_run() -> None:
    batch = batch_noise(seed_list(41, 3), (4, 8, 8))
    assert batch.shape == (3, 4, 8, 8)
    assert batch.dtype is torch.float32
    for i in range(3):
        # ComfyUI seeds torch's own generator and draws [1, C, H, W] from it.
        torch.manual_seed(41 + i)
        assert torch.equal(batch[i : i + 1], torch.randn(1, 4, 8, 8))


def test_the_process_wide_generator_is_left_alone() -> None:
    torch.manual_seed(1)
    expected = torch.randn(3)
    torch.manual_seed(1)
    batch_noise([7], (4, 8, 8))
    assert torch.equal(torch.randn(3), expected)
