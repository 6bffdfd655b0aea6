"""The least that an ingest can cost: files read and pixels decoded once, as many bytes written as are stored."""

import json
import os
import sys
import time
from pathlib import Path

import pydicom
from pydicom.pixels.utils import pixel_array

from rounds.imaging.dicom import quietly
from rounds.imaging.jpeg_lossless import PLUGIN, is_available


def decode(path: Path) -> bool:
    data = pydicom.dcmread(path)
    decoder = PLUGIN if is_available(data.file_meta.TransferSyntaxUID) else ""
    return bool(pixel_array(data, raw=True, decoding_plugin=decoder).size)


def main() -> int:
    """Print the processor seconds of a job; the decoders are the product's, a line of zeros is what is written."""
    job = json.loads(Path(sys.argv[1]).read_text())
    files = [path for folder in job["folders"] for path in sorted(Path(folder).iterdir())]
    with quietly():
        decode(files[0])
        start = time.process_time()
        decoded = sum(map(decode, files))
    block = bytes(2**20)
    target = Path(sys.argv[1]).with_name("written")
    with target.open("wb", buffering=0) as file:
        for _ in range(job["stored"] // len(block)):
            file.write(block)
        os.fsync(file.fileno())
    spent = time.process_time() - start
    target.unlink()
    print(json.dumps({"slices": decoded, "cpu": spent}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
