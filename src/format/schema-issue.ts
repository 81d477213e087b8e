import type { z } from 'zod'

/** What is wrong with a file that people write, in TOML or JSON, without words of the library that found it. */

const KINDS: Readonly<Record<string, string>> = {
  string: 'text in quotes',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list in [ ]',
  object: 'a table of keys',
  record: 'a table of keys',
}

/** @returns what the value must be, to stand behind the name of its key */
export function issueInWords(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'unrecognized_keys':
      return 'unknown key'
    case 'invalid_type': {
      const kind = KINDS[issue.expected] ?? issue.expected
      // Neither TOML nor JSON has a value that is undefined.
      return issue.message.endsWith('received undefined')
        ? `is missing: must be ${kind}`
        : `must be ${kind}`
    }
    case 'invalid_value':
      return oneOf(issue.values)
    case 'too_small':
    case 'too_big':
      return issue.message.startsWith('Too ') ? outOfBounds(issue) : issue.message
    case 'invalid_union':
      return issue.discriminator === undefined
        ? [...new Set(issue.errors.flat().map(issueInWords))].join(', or ')
        : oneOf(('options' in issue && issue.options) || [])
    default:
      // Ours, unless nobody has written one.
      return issue.message.startsWith('Invalid ') ? 'has another form' : issue.message
  }
}

function oneOf(values: Iterable<unknown>): string {
  return `must be ${[...values].map((value) => JSON.stringify(value)).join(' or ')}`
}

const COUNTED: Readonly<Record<string, string>> = { string: ' characters', array: ' entries' }

function outOfBounds(issue: z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig): string {
  const counted = COUNTED[issue.origin] ?? ''
  const verb = counted === '' ? 'be' : 'have'
  if (issue.code === 'too_big') return `must ${verb} at most ${issue.maximum}${counted}`
  const bound = issue.inclusive === false ? 'more than' : 'at least'
  return `must ${verb} ${bound} ${issue.minimum}${counted}`
}
