import { pino } from 'pino'

/** What the agent logs with. Records are JSON lines on standard output, for the journal. */
export type Log = pino.Logger

export type LogLevel = 'error' | 'warn' | 'info' | 'debug'

/**
 * The agent's log. Nothing secret is ever handed to it (tokens and keys are Secret values); the
 * redaction below is a second net under that.
 */
export function openLog(level: LogLevel): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: ['token', '*.token', 'authorization', '*.authorization', 'body', '*.body'],
        censor: '[secret]',
      },
    },
    pino.destination({ dest: 1, sync: true }),
  )
}
