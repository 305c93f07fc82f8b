"""The paper's methods, one small file each; `lls.build.build_method` finds them by name."""
