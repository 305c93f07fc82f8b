"""The paper's methods, one small file each; `lls.training.build.build_method` finds them by name."""
