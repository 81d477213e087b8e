import { describe, expect, test } from 'vitest'
import { kernelHas } from '../../src/caller/kernel-features.ts'
import { whyNoPlaces } from '../../src/caller/socket-place.ts'

describe('callers over TCP', () => {
  test.each(['4.18.0-553.el8_10.x86_64', '5.7.19', '3.10.0-1160.el7', 'unknown'])(
    'can be named by nobody on Linux %s',
    (kernel) => expect(whyNoPlaces(kernel)).toMatch(/^Before Linux 5\.8 /),
  )
})

test.each([
  ['5.8.0', true],
  ['5.10.134-16.3.al8.x86_64', true],
  ['5.10.0-28-amd64', true],
  ['6.1.0-37-amd64', true],
  ['10.0.0', true],
  ['5.7.19', false],
  ['4.19.91', false],
  ['linux-6.1.0', false],
])('versions of Linux are compared by their numbers: %s', (kernel, has) => {
  expect(kernelHas('socketCgroup', kernel)).toBe(has)
})
