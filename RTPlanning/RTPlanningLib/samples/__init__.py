"""Built-in sample cases, made by this package from published geometry: no patient data, nothing to download.

>>> from RTPlanningLib.samples import load_sample
>>> case = load_sample("tg119-cshape")
"""

from RTPlanningLib.samples.catalogue import SamplePrescription, available_samples, load_sample, sample_plan

__all__ = ["SamplePrescription", "available_samples", "load_sample", "sample_plan"]
