// test/spec: the methods of the control socket as docs/control.md has them, made from their table.
import { EVENT_PARAMS, METHODS } from '../../src/daemon/control/methods.ts';
import type { ObjectSchema, Schema } from '../../src/daemon/control/schema.ts';

/** The text of the sections from "Methods" on. */
export function controlDocument(): string {
  const methods = Object.entries(METHODS).map(([name, { summary, params, result }]) =>
    [`### ${name}`, summary, ...members('takes', params), ...members('returns', result)].join('\n\n'),
  );
  const events = ['## Events', 'The params of a notification `event`.', ...members('has', EVENT_PARAMS)];
  return `${['## Methods', ...methods, ...events].join('\n\n')}\n`;
}

function members(verb: string, schema: ObjectSchema): string[] {
  const rows = rowsOf(schema, '');
  if (rows.length === 0) return [];
  return [[`| ${verb} | type | |`, '| --- | --- | --- |', ...rows].join('\n')];
}

/** A row for each member, and for each member of a list or an object in it. */
function rowsOf({ properties, required }: ObjectSchema, prefix: string): string[] {
  return Object.entries(properties).flatMap(([name, schema]) => {
    const optional = required.includes(name) ? '' : ', optional';
    const row = `| \`${prefix}${name}\` | ${typeOf(schema)}${optional} | ${schema.description ?? ''} |`;
    return [row, ...inner(schema, `${prefix}${name}`)];
  });
}

function inner(schema: Schema, path: string): string[] {
  if ('enum' in schema) return [];
  if (schema.type === 'object') return rowsOf(schema, `${path}.`);
  if (schema.type !== 'array' || 'enum' in schema.items || schema.items.type !== 'object') return [];
  return rowsOf(schema.items, `${path}[].`);
}

function typeOf(schema: Schema): string {
  if ('enum' in schema) return schema.enum.length > 8 ? 'a name' : schema.enum.map((word) => `\`${word}\``).join(', ');
  if (schema.type === 'array') return `list of ${'enum' in schema.items ? 'names' : schema.items.type}`;
  if (schema.type !== 'integer' && schema.type !== 'number') return schema.type;
  const { type, minimum, maximum } = schema;
  if (minimum === undefined) return type;
  return maximum === undefined ? `${type} ≥ ${minimum}` : `${type}, ${minimum} to ${maximum}`;
}
