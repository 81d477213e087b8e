import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CgroupPlace, parseCgroup } from '../../src/caller/cgroup-place.ts'

const HEX = '4c01db0b339c4c01db0b339c4c01db0b339c4c01db0b339c4c01db0b339c4c01'
const OTHER_HEX = 'f'.repeat(64)

/** Lines of real machines, and what systemd says of them. */
const UNIFIED: readonly [path: string, place: CgroupPlace][] = [
  ['/', {}],
  ['/init.scope', { unit: 'init.scope' }],
  ['/system.slice/nginx.service', { unit: 'nginx.service', slice: 'system.slice' }],
  [
    '/system.slice/system-app.slice/app@blue.service',
    { unit: 'app@blue.service', slice: 'system-app.slice' },
  ],
  [
    '/system.slice/foo\\x2dbar@a\\x40b.service',
    { unit: 'foo\\x2dbar@a\\x40b.service', slice: 'system.slice' },
  ],
  [
    '/system.slice/system-getty.slice/getty@tty1.service',
    { unit: 'getty@tty1.service', slice: 'system-getty.slice' },
  ],
  [
    '/system.slice/system-serial\\x2dgetty.slice/serial-getty@ttyS0.service',
    { unit: 'serial-getty@ttyS0.service', slice: 'system-serial\\x2dgetty.slice' },
  ],
  [
    '/user.slice/user-1000.slice/session-3.scope',
    { unit: 'session-3.scope', slice: 'user-1000.slice' },
  ],
  [
    '/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service',
    { unit: 'user@1000.service', slice: 'user-1000.slice' },
  ],
  [
    '/user.slice/user-1000.slice/user@1000.service/init.scope',
    { unit: 'user@1000.service', slice: 'user-1000.slice' },
  ],
  // Delegated: what a unit makes below itself is its own word.
  ['/system.slice/foo.service/bar.service', { unit: 'foo.service', slice: 'system.slice' }],
  ['/system.slice/foo.service/payload', { unit: 'foo.service', slice: 'system.slice' }],
  ['/system.slice/run-r1a2b.service', { unit: 'run-r1a2b.service', slice: 'system.slice' }],
  ['/system.slice/cups.socket', { unit: 'cups.socket', slice: 'system.slice' }],
  ['/system.slice/var-lib\\x2dx.mount', { unit: 'var-lib\\x2dx.mount', slice: 'system.slice' }],
  // cg_escape(): a unit whose name begins as a controller's file does.
  ['/system.slice/_cpu.service', { unit: 'cpu.service', slice: 'system.slice' }],
  ['/system.slice/a:b.service', { unit: 'a:b.service', slice: 'system.slice' }],
  [
    `/system.slice/docker-${HEX}.scope`,
    { unit: `docker-${HEX}.scope`, slice: 'system.slice', container: HEX },
  ],
  [`/docker/${HEX}`, { container: HEX }],
  [`/docker/${HEX}/init.scope`, { container: HEX }],
  [`/docker/${HEX}/docker/${OTHER_HEX}`, { container: HEX }],
  [
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-${HEX}.scope`,
    {
      unit: `cri-containerd-${HEX}.scope`,
      slice: 'kubepods-burstable-pod1_2.slice',
      container: HEX,
    },
  ],
  [`/kubepods/besteffort/pod0f3a/${HEX}`, { container: HEX }],
  [
    `/kubepods.slice/kubepods-pod7.slice/crio-${HEX}.scope/container`,
    { unit: `crio-${HEX}.scope`, slice: 'kubepods-pod7.slice', container: HEX },
  ],
  [
    `/system.slice/containerd.service/kubepods-besteffort-pod7.slice:cri-containerd:${HEX}`,
    { unit: 'containerd.service', slice: 'system.slice', container: HEX },
  ],
  [
    `/machine.slice/libpod-${HEX}.scope/container`,
    { unit: `libpod-${HEX}.scope`, slice: 'machine.slice', container: HEX },
  ],
  [
    `/machine.slice/libpod-conmon-${HEX}.scope`,
    { unit: `libpod-conmon-${HEX}.scope`, slice: 'machine.slice' },
  ],
  [
    `/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${HEX}.scope/container`,
    { unit: 'user@1000.service', slice: 'user-1000.slice', container: HEX },
  ],
  ['/lxc.payload.web/system.slice/nginx.service', { container: 'web' }],
  ['/lxc/web', { container: 'web' }],
  // Only almost a slice or a container.
  ['/system.slice.d/nginx.service', {}],
  ['/x.system.slice!/nginx.service', {}],
  [`/docker/${HEX}.x`, {}],
  [`/docker/${HEX}0`, {}],
  ['/x.lxc.payload.web', {}],
  ['/lxc.payload.web@x', {}],
  ['/machine.slice/systemd-nspawn@deb.service.d', {}],
  [
    '/machine.slice/systemd-nspawn@deb.service/payload',
    { unit: 'systemd-nspawn@deb.service', slice: 'machine.slice', container: 'deb' },
  ],
  // Outside the cgroup namespace of the reader.
  ['/../../system.slice/nginx.service', {}],
  ['/../nginx.service', {}],
  // Its cgroup was removed under it: a process that is about to be gone.
  ['/system.slice/nginx.service (deleted)', {}],
  ['/nginx', {}],
  ['/system.slice', {}],
  ['/nginx.service.d', {}],
  ['/system.slice/ng inx.service', {}],
  ['/system.slice/.service', {}],
]

test.each(UNIFIED)('unified: %s', (path, place) => {
  // What is not there is no member either.
  expect(parseCgroup(`0::${path}\n`)).toStrictEqual(place)
})

describe('more than one hierarchy', () => {
  const legacy = (systemd: string, unified?: string) =>
    `12:cpu,cpuacct:/system.slice/wrong.service\n1:name=systemd:${systemd}\n${
      unified === undefined ? '' : `0::${unified}\n`
    }`

  test.each([
    ['legacy', legacy('/system.slice/a.service'), { unit: 'a.service', slice: 'system.slice' }],
    [
      'hybrid',
      legacy('/system.slice/a.service', '/system.slice/a.service'),
      { unit: 'a.service', slice: 'system.slice' },
    ],
    [
      // Mounted by hand for an old container: systemd itself does not use it.
      'a named hierarchy that systemd does not fill',
      legacy('/', '/system.slice/a.service'),
      { unit: 'a.service', slice: 'system.slice' },
    ],
    ['two units', legacy('/system.slice/a.service', '/system.slice/b.service'), {}],
    ['another named hierarchy', '2:name=evil:/system.slice/a.service\n', {}],
    ['a controller', '3:cpu:/system.slice/a.service\n', {}],
    [
      'docker without systemd on cgroups v1',
      `11:memory:/docker/${HEX}\n1:name=systemd:/\n0::/\n`,
      { container: HEX },
    ],
    ['lines that begin with no number', 'x0::/system.slice/a.service\n', {}],
    ['no file', '', {}],
  ])('%s', (_what, text, place) => {
    expect(parseCgroup(text)).toEqual(place)
  })
})

test('whatever stands below a unit, the unit is the same', () => {
  const below = fc.array(fc.stringMatching(/^[a-z@.\\:-]{1,20}$/))
  fc.assert(
    fc.property(below, (segments) => {
      const path = ['', 'system.slice', 'app.service', ...segments, 'root.service'].join('/')
      expect(parseCgroup(`0::${path}\n`).unit).toBe('app.service')
    }),
  )
})

test('any name but a line end below a unit or a container hides neither', () => {
  for (const name of ['a\rb', '\r', 'a\u0085b', 'a\0b', 'a:b', '\u2028', '\r0::']) {
    const path = `/system.slice/app.service/${name}`
    expect(parseCgroup(`0::${path}\n`).unit, JSON.stringify(name)).toBe('app.service')
    const contained = `/system.slice/docker-${HEX}.scope/${name}`
    expect(parseCgroup(`0::${contained}\n`).container, JSON.stringify(name)).toBe(HEX)
  }
})

test('any text is taken without an error', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
      const { unit } = parseCgroup(text)
      expect(unit ?? 'x.service').toMatch(/^[^/\n]+\.[a-z]+$/)
    }),
  )
})
