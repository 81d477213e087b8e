/** The pages that a package has under /usr/share/doc/metabind, beside the folder docs/: all that those lead to. */
export const DOCUMENTS = [
  'README.md',
  'SECURITY.md',
  'ARCHITECTURE.md',
  'CONTRIBUTING.md',
  'RELEASING.md',
  'CHANGELOG.md',
  'native/tpm2-js/README.md',
  'native/linux/README.md',
  'native/pkcs11/README.md',
]
