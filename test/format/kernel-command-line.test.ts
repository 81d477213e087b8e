import { expect, test } from 'vitest'
import {
  kernelParameters,
  kernelWordPattern,
  kernelWords,
} from '../../src/format/kernel-command-line.ts'
import { fitsPattern } from '../../src/format/word-pattern.ts'

test.each([
  ['root=/dev/vda ro', ['root=/dev/vda', 'ro']],
  ['  a \t b\u00a0c\n', ['a', 'b', 'c']],
  ['"init=/bin/sh" ro', ['init=/bin/sh', 'ro']],
  ['init="/bin/a b" ro', ['init=/bin/a b', 'ro']],
  ["'init=/bin/sh'", ['init=/bin/sh']],
  ['systemd.debug-shell rd-break=pre-mount', ['systemd.debug_shell', 'rd_break=pre-mount']],
  ['a "b c', ['a', 'b c']],
  ['', []],
])('%s', (line, words) => expect(kernelWords(line)).toEqual(words))

test.each([
  ['a lock-down=integrity', ['a', 'lock_down=integrity']],
  ['"lockdown=integrity" a="b c"', ['lockdown=integrity', 'a=b c']],
  ['a -- lockdown=integrity', ['a']],
  ['a "--" lockdown=integrity', ['a']],
  ['a\nlockdown=integrity', ['a']],
  ['a\0 lockdown=integrity', ['a']],
  ["'lockdown=integrity'", []],
  ['lock"down=integrity"', []],
  ['lockdown=inte"grity"', []],
])('the kernel takes for its own of %j', (line, words) =>
  expect(kernelParameters(line)).toEqual(words),
)

test.each([
  ['root=UUID=12', 'root=UUID=*', true],
  ['root=UUID=12', 'root=UUID=12', true],
  ['root=UUID=12', 'root=*=1*', true],
  ['root=UUID=12', 'root', false],
  ['root', 'root=*', false],
  ['', '*', true],
  ['a', '**', true],
  ['aba', 'ab*ba', false],
  ['abba', 'ab*ba', true],
  ['abcabc', '*abc*abc*', true],
  ['abcab', '*abc*abc*', false],
  ['init=/bin/sh', 'init=/b?n/sh', false],
  ['init=/bin/sh', '.*', false],
])('%s %s: %s', (word, pattern, fits) => expect(fitsPattern(word, pattern)).toBe(fits))

test('a pattern is in the spelling of the words', () => {
  expect(fitsPattern(kernelWords('a-b=c-d')[0] ?? '', kernelWordPattern('a-b=c-*'))).toBe(true)
})

test('a pattern of many parts asks for each part of a hostile word once', () => {
  const searches: string[] = []
  class Counted extends String {
    override indexOf(part: string, at: number): number {
      searches.push(part)
      return super.indexOf(part, at)
    }
  }
  const word = new Counted('a'.repeat(10_000)) as unknown as string
  expect(fitsPattern(word, `${'a*'.repeat(100)}b`)).toBe(false)
  expect(fitsPattern(word, `${'a*'.repeat(100)}b*`)).toBe(false)
  expect(searches.length).toBeLessThanOrEqual(200)
})
