"""Networks for CT lesions and cases: training, prediction and evaluation on plain folders."""

import os

# Before torch is loaded: a waiting thread sleeps; spinning on a shared machine took three times the CPU.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
