/** (gid_t)-1, which is no group (chown(2)): of whom no group is known. No rule for a group can match it. */
export const NO_GID = 0xffff_ffff
