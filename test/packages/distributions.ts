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
    name: 'Alibaba Cloud Linux 3',
    tpm2Tss: '2.3.2',
    sysSoname: 0,
    glibc: 32,
    gcc: 10,
    systemd: 239,
    rpm: '4.14.3',
    source:
      'alibabacloud.com/help/en/alinux: differences between Alibaba Cloud Linux 3 and CentOS 7, July 2024 ' +
      '(glibc 2.32-1.16.al8, gcc 10.2.1-3.8.al8, systemd 239-74.0.3.al8), and its first release notes: ' +
      'compatible with RHEL 8',
    assumed: 'tpm2-tss and rpm of RHEL 8, and libatomic',
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
  readonly assumed?: string
}

// The page of each package there has its version on amd64, as of autumn 2026 or, for 20.04, of 2025.
const UBUNTU = (codename: string) => `packages.ubuntu.com/${codename}/`
const TPM2_TSS = 'the advisory USN-6796-1 on tpm2-tss'

/** libgcc-s1 and libatomic1 are built with libstdc++6, of one source. */
function compiler(version: string) {
  return { 'libstdc++6': version, 'libgcc-s1': version, libatomic1: version }
}

/** The libraries of one tpm2-tss. */
function tpm2Tss(names: readonly string[], version: string) {
  return Object.fromEntries(names.map((name) => [`libtss2-${name}`, version]))
}

// With times of 64 bits.
const NAMES_T64 = [
  'esys-3.0.2-0t64',
  'sys1t64',
  'mu-4.0.1-0t64',
  'rc0t64',
  'tctildr0t64',
  'tcti-device0t64',
]

export const DEB_DISTRIBUTIONS: readonly DebDistribution[] = [
  { name: 'Debian 11', suite: 'bullseye', source: "the release's index" },
  { name: 'Debian 12', suite: 'bookworm', source: "the release's index" },
  { name: 'Debian 13', suite: 'trixie', source: "the release's index" },
  {
    name: 'Ubuntu 20.04',
    packages: {
      libc6: '2.31-0ubuntu9.17',
      systemd: '245.4-4ubuntu3.20',
      ...compiler('10.5.0-1ubuntu1~20.04'),
      'libtss2-esys0': '2.3.2-1ubuntu0.20.04.2',
    },
    refused: 'libtss2-esys-3.0.2-0',
    source: `${UBUNTU('focal-updates')}, and ${TPM2_TSS}: libtss2-esys0 has all libraries`,
  },
  {
    name: 'Ubuntu 22.04',
    packages: {
      libc6: '2.35-0ubuntu3.15',
      systemd: '249.11-0ubuntu3.22',
      'tpm-udev': '0.6',
      ...compiler('12.3.0-1ubuntu1~22.04.3'),
      ...tpm2Tss(
        ['esys-3.0.2-0', 'sys1', 'mu0', 'rc0', 'tctildr0', 'tcti-device0'],
        '3.2.0-1ubuntu1.1',
      ),
    },
    source: `${UBUNTU('jammy')}, and ${TPM2_TSS}`,
  },
  {
    name: 'Ubuntu 24.04',
    packages: {
      libc6: '2.39-0ubuntu8.9',
      systemd: '255.4-1ubuntu8.17',
      'tpm-udev': '0.6ubuntu1',
      ...compiler('14.2.0-4ubuntu2~24.04.1'),
      ...tpm2Tss(NAMES_T64, '4.0.1-7.1ubuntu5.1'),
    },
    source: `${UBUNTU('noble')}, and ${TPM2_TSS}`,
  },
  {
    name: 'Ubuntu 26.04',
    packages: {
      libc6: '2.43-2ubuntu2.3',
      systemd: '259.5-0ubuntu3.4',
      'tpm-udev': '4.1.3-6',
      ...compiler('16-20260322-1ubuntu1'),
      ...tpm2Tss(NAMES_T64, '4.1.3-6'),
    },
    source: `${UBUNTU('resolute')}: tpm2-tss names its libraries`,
    assumed: 'the name of libtss2-tctildr, which is that of 25.04',
  },
]
