/**
 * What distributions have of that which the packages ask for. Each row names where its facts were read;
 * what has no source there is in `assumed`, and a distribution without any is not here.
 */

export interface RpmDistribution {
  readonly name: string
  readonly tpm2Tss: string
  /** 0 before tpm2-tss 3.0, 1 since. */
  readonly sysSoname: 0 | 1
  /** The minor number: 28 is glibc 2.28. */
  readonly glibc: number
  /** The compiler whose libstdc++, libgcc and libatomic are there. */
  readonly gcc: number
  readonly systemd: number
  readonly rpm: string
  readonly source: string
  readonly assumed?: string
}

const OPENELA = 'github.com/openela-main: SPECS of tpm2-tss, glibc, gcc, systemd, rpm'
const CVE_LISTS = 'lists of vulnerable packages of Greenbone and Nessus (libtss2-*, glibc, systemd)'

export const RPM_DISTRIBUTIONS: readonly RpmDistribution[] = [
  {
    name: 'RHEL 8 and its rebuilds',
    tpm2Tss: '2.3.2',
    sysSoname: 0,
    glibc: 28,
    gcc: 8,
    systemd: 239,
    rpm: '4.14.3',
    source: `${OPENELA}, branch el8 (e6b5ffe of glibc, 47acb23 of gcc)`,
  },
  {
    name: 'RHEL 9 and its rebuilds',
    tpm2Tss: '3.2.2',
    sysSoname: 1,
    glibc: 34,
    gcc: 11,
    systemd: 252,
    rpm: '4.16.1',
    source: `${OPENELA}, branch el9 (fef7ed0 of glibc, f6c0993 of gcc)`,
  },
  {
    name: 'Fedora',
    tpm2Tss: '4.2.0',
    sysSoname: 1,
    glibc: 44,
    gcc: 16,
    systemd: 261,
    rpm: '6.1.0',
    source: 'github.com/major/fedora-rpm-specs, 10e71f1 of August 2026: specs/',
  },
  {
    name: 'Amazon Linux 2023',
    tpm2Tss: '3.2.2',
    sysSoname: 1,
    glibc: 34,
    gcc: 11,
    systemd: 252,
    rpm: '4.16.1',
    source: 'github.com/amazonlinux/amazon-linux-2023, 2128881: release notes',
    assumed: 'glibc, libatomic and rpm, which the release notes do not list',
  },
  {
    name: 'openSUSE Tumbleweed',
    tpm2Tss: '4.0.1',
    sysSoname: 1,
    glibc: 38,
    gcc: 13,
    systemd: 253,
    rpm: '4.18.0',
    source: 'github.com/aplanas/meta-microos, d1823b0 of February 2024: pool-tumbleweed/',
  },
  {
    name: 'openSUSE Leap 15.4, SLES 15 SP4, and later',
    tpm2Tss: '3.1.0',
    sysSoname: 1,
    glibc: 31,
    gcc: 8,
    systemd: 249,
    rpm: '4.14.3',
    source: CVE_LISTS,
    assumed: 'libstdc++ of GCC 8 or later, libatomic and rpm',
  },
  {
    name: 'openSUSE Leap 15.3, SLES 15 SP3',
    tpm2Tss: '2.4.5',
    sysSoname: 0,
    glibc: 31,
    gcc: 8,
    systemd: 246,
    rpm: '4.14.3',
    source: CVE_LISTS,
    assumed: 'libstdc++ of GCC 8 or later, libatomic, systemd and rpm',
  },
]

export interface DebDistribution {
  readonly name: string
  /** The release whose own index is asked, where it can be reached; else `packages` are all there is. */
  readonly suite?: string
  readonly packages?: Readonly<Record<string, string>>
  /** The package that apt must say is missing, where the installation has to be refused. */
  readonly refused?: string
  readonly source: string
}

const UBUNTU_22_04 = '3.2.0-1ubuntu1'
const UBUNTU_24_04 = '4.0.1-7.1ubuntu5.1'

export const DEB_DISTRIBUTIONS: readonly DebDistribution[] = [
  { name: 'Debian 11', suite: 'bullseye', source: "the release's index" },
  { name: 'Debian 12', suite: 'bookworm', source: "the release's index" },
  { name: 'Debian 13', suite: 'trixie', source: "the release's index" },
  {
    name: 'Ubuntu 20.04',
    packages: { libc6: '2.31', 'libstdc++6': '10', 'libtss2-esys0': '2.3.2-1', systemd: '245' },
    refused: 'libtss2-esys-3.0.2-0',
    source: 'logs of apt on Ubuntu 20.04: libtss2-esys0 2.3.2-1 holds all libraries of tpm2-tss',
  },
  {
    name: 'Ubuntu 22.04',
    packages: {
      libc6: '2.35',
      'libstdc++6': '12',
      systemd: '249',
      'libtss2-esys-3.0.2-0': UBUNTU_22_04,
      'libtss2-sys1': UBUNTU_22_04,
      'libtss2-mu0': UBUNTU_22_04,
      'libtss2-rc0': UBUNTU_22_04,
      'libtss2-tctildr0': UBUNTU_22_04,
      'libtss2-tcti-device0': UBUNTU_22_04,
    },
    source: 'lists of installed packages of Ubuntu 22.04 (libtss2-sys1, libtss2-mu0)',
  },
  {
    name: 'Ubuntu 24.04',
    packages: {
      libc6: '2.39',
      'libstdc++6': '14',
      systemd: '255',
      'libtss2-esys-3.0.2-0t64': UBUNTU_24_04,
      'libtss2-sys1t64': UBUNTU_24_04,
      'libtss2-mu-4.0.1-0t64': UBUNTU_24_04,
      'libtss2-rc0t64': UBUNTU_24_04,
      'libtss2-tctildr0t64': UBUNTU_24_04,
      'libtss2-tcti-device0t64': UBUNTU_24_04,
    },
    source: 'lists of installed packages of Ubuntu 24.04',
  },
]
